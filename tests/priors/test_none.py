"""Without a prior nothing is loaded, and the records of older runs still parse."""

import torch
from omegaconf import open_dict

from fvis import priors
from fvis.compose import compose
from fvis.models import Preprocessing
from fvis.schema import NoPriorConfig, parse

INPUTS = Preprocessing(8, 8, None, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_no_prior_is_the_default_and_there_is_nothing_to_load() -> None:
    config = parse(compose([]))
    assert config.prior == NoPriorConfig()
    assert priors.load(config, INPUTS, torch.device("cpu")) is None


def test_the_config_of_a_run_that_knew_no_priors_has_none() -> None:
    composed = compose([])
    with open_dict(composed):
        del composed["prior"]
    assert parse(composed).prior == NoPriorConfig()
