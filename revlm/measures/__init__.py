"""Numbers about directions: curves, intersections, scores."""
