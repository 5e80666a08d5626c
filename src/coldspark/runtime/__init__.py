"""The machine: clock, controller, supervisor, templates, workers, devices, environments."""
