"""The policy is a property of the configuration: built once, and not sent along with it."""

import dataclasses
import pickle

from ogw.settings.loader import load


def test_a_policy_is_built_once_and_only_when_it_is_asked_for():
    config = load(["--allowed-host", "www.example.com"], {})
    assert "policy" not in vars(config)
    assert config.policy is config.policy


def test_a_configuration_travels_without_its_policy_and_gives_the_same_one_there():
    config = load(["--allowed-host", "www.example.com", "--denied-host", "*.example.net"], {})
    plain = pickle.dumps(config)
    digits = config.policy.hash
    assert pickle.dumps(config) == plain, "whoever is sent it is sent no indexes"
    there = pickle.loads(plain)
    assert there == config and there.origins == config.origins
    assert there.policy.hash == digits and there.policy is not config.policy


def test_a_changed_copy_has_a_policy_of_its_own():
    config = load(["--allowed-host", "www.example.com"], {})
    digits = config.policy.hash
    assert dataclasses.replace(config, allowed_host=()).policy.hash != digits
