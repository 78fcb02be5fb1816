"""Images: the containers-storage store shared with Podman, Buildah and Skopeo, and everything that fills it."""
