"""Level-1 objects in hardware integers: schemas, event files, menus, and the simulation that makes a sample."""
