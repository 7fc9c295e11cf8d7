"""What people look at, made from files alone: never a model."""
