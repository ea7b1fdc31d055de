"""The stores: three ways to keep the same promises."""
