//! The policy language as its users meet it: examples and what they compile to, mistakes and what is said of them.

mod committed;
mod gallery;
mod problems;
