"""What a crew means: order, inputs, ceilings."""
