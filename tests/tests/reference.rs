//! The reference by hand-made expectations, and the product's stages by the reference.

mod hand_made;
mod random;
