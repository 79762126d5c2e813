//! A real control plane and real buckets for tests, and for people.
