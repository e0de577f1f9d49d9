//! YAML files read with file, line and key in every error.
