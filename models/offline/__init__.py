"""The embedded model that needs no key: it selects and orders sentences of the sources."""
