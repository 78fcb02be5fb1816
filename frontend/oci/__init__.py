"""OCI bundles: from a container's request to the config.json that the runtime reads."""
