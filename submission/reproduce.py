"""`REPRODUCE.md`: how the samples of an archive were made, and how to make them again."""

import shlex

from ntire_sr.core.errors import plural
from ntire_sr.samples.manifest import Manifest
from ntire_sr.sampling.tolerance import tolerance_of
from ntire_sr.submission.facts import Facts


def reproduce(facts: Facts, weights_name: str) -> str:
    """The text of `REPRODUCE.md`.

    Args:
        facts: facts about the samples.
        weights_name: name of the weights in the archive.
    """
    manifest = facts.manifest
    if manifest is None:
        return "# How these samples were drawn\n\nThe folder of samples has no manifest: only the team knows.\n"
    s = manifest.settings
    if s.external:
        return _reproduce_projection(manifest)
    named = weights_name if s.weights_sha256 else s.model
    words = ["ntire-sr generate --lr LR_FOLDER"]
    if manifest.code is None:
        words.append(f"--weights {named}")
    else:  # its names are the team's
        file = s.model.split(":")[0].endswith(".py")
        words.append(f"--model {shlex.quote(f'network/{s.model}' if file else s.model)}")
        words += [f"--weights {shlex.quote(named)}"] if s.weights_sha256 else []
        words[0] = words[0] if file else f"PYTHONPATH=network {words[0]}"
    words += [f"--samples {facts.samples}", f"--seed {s.seed}"]
    words += [f"--scale {s.scale}", f"--tile {manifest.tile}", f"--precision {s.precision}", "--out samples"]
    words += [] if s.projection else ["--no-projection"]
    words += [] if s.temperature == 1 else [f"--temperature {s.temperature:g}"]
    versions = "\n".join(f"* {name} {version}" for name, version in manifest.versions.items())
    return (
        "# How these samples were drawn\n\n"
        f"With the package in `code` (`ntire_sr`; version {manifest.versions.get('ntire-sr', '?')}) on the path and\n\n{versions}\n\n"
        f"on {manifest.device} with {plural(manifest.threads, 'thread')}:\n\n```\n{' '.join(words)}\n```\n\n"
        "`manifest.json` names the digest of every LR image, seed and sample. The same processor or GPU, torch "
        f"version, number of threads and tile give the same bytes; others can differ by "
        f"{plural(tolerance_of(s.precision).most, 'grey level')}.\n"
    )


def _reproduce_projection(manifest: Manifest) -> str:
    """The text on samples that were projected from another program's images."""
    s = manifest.settings
    return (
        "# How these samples were made\n\n"
        f"Another program ({s.model}) drew the images; only the team knows how. `manifest.json` names the file and digest of each. "
        f"With the package in `code` (`ntire_sr`; version {manifest.versions.get('ntire-sr', '?')}) on the path they were projected by\n\n"
        f"```\nntire-sr project --sr SR_FOLDER --lr LR_FOLDER --scale {s.scale} --out samples\n```\n\n"
        "(with `--names` if they are not named like the LR images).\n"
    )
