"""Volumes: folders that outlive the containers that use them."""
