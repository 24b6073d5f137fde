"""Where networks come from: one module per `model.source`."""
