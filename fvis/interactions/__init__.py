"""How units combine: what `fvis interactions` measures, shows and writes."""
