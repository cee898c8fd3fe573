//! What the world sees of a running ferroproxy: metrics, health, its HTTP servers.
