//! Safe wrappers of the Linux calls a composefs repository needs and rustix lacks.
