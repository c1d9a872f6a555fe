"""Domain: devices, releases, check-ins, and the decision what each device gets. Pure; takes ``now``."""
