//! hearth, the command line of the home agent.
