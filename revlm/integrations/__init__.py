"""Other people's pipelines, with revlm inside."""
