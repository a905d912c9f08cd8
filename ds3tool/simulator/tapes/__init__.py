"""The tape library: cartridges, robot, drives, the operator, and what is done with tapes."""
