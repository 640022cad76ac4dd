"""The path of a counterfactual through the model's space of conditions."""

from __future__ import annotations

import torch

from services.errors import InvalidInput
from services.generator.steps import CounterfactualSpec
from services.hosting.diffusion.families import ClassToImage
from services.hosting.diffusion.host import DiffusionHost
from services.maths.diffusion.attributes import attribute_vector
from services.maths.diffusion.paths import PathKind, embedding_path


async def path_embeddings(host: DiffusionHost, spec: CounterfactualSpec) -> torch.Tensor:
    """(frames, E): embeddings of the source, of the target, and what lies between. InvalidInput where nothing does."""
    denoiser = host.denoiser(host.find(spec.model, digest=spec.model_digest))
    assert isinstance(denoiser, ClassToImage)  # resolve_counterfactual lets no other pass
    kind: PathKind = "spherical" if spec.path == "spherical" else "linear"

    def walk() -> torch.Tensor:
        attributes, held = denoiser.record.attributes(), dict(spec.held_attributes)
        ends = (held | dict(given) for given in (spec.source_attributes, spec.target_attributes))
        source, target = (denoiser.embed(attribute_vector(attributes, end)) for end in ends)
        return embedding_path(source, target, spec.frames, kind=kind)

    try:
        return await host.engine.run(walk)
    except ValueError as error:
        raise InvalidInput(str(error), field="spec.path", reason="PATH_UNDEFINED") from error


def free_attributes(host: DiffusionHost, spec: CounterfactualSpec) -> list[str]:
    """Attributes that the model knows and nobody set: they may move along."""
    named = {*spec.source_attributes, *spec.held_attributes}
    return [
        condition.name
        for condition in host.find(spec.model, digest=spec.model_digest).conditions
        if condition.name not in named
    ]
