"""The product's real core, driven without sockets, and the laws it has to keep."""
