//! The policy language as its users meet it: examples and what they compile to, mistakes and what is said of them.

#[cfg(test)]
mod committed;
#[cfg(test)]
mod gallery;
#[cfg(test)]
mod problems;
