"""Parts of the preflight checks of a cluster; OME uses them too. Read-only; each check carries a remedy."""
