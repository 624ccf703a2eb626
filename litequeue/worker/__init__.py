"""Running tasks: given a registry of what can be run and a store, it knows neither the app nor the canvas."""
