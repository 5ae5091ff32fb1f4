"""Tables to people: pages, reports, services, command line and hub."""
