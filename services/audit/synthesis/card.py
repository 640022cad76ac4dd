"""The card of a synthetic cohort: what it is made of, what it is for, and what it must not be taken for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTICE = (
    "Every image of this cohort was drawn by a generative model. None shows a patient. A clinician must review "
    "generated images before they have any part in care."
)
INTENDED = "Research: training data of a model beside real images, where groups have few patients."
NOT_INTENDED = (
    "Evaluating or approving a model, diagnosis, and any count of how common something is: shares of groups and "
    "diagnoses were chosen, not observed."
)
LIMITS = (
    "Masks and prompts are those of real patients of the source cohort, and so are the patient ids: a split that "
    "separates patients must separate these images with them.",
    "Attributes and labels say what the model was asked to show. Those that were neither balanced on nor in the prompt "
    "are missing, for nothing of them is in the images.",
    "The model learned from patients of its own, and traces of them may be in any image: what learned from this cohort "
    "must not be judged on those patients.",
    "A rare group's images come from its few patients, again and again: they add no anatomy that its patients lack.",
)
ELSEWHERE = (
    "`evenhand models evaluate` measures the model itself: its likeness to what was asked, and how near its images lie "
    "to those it learned from, which are not here."
)


def card_json(manifest: Mapping[str, Any], quality: Mapping[str, Any]) -> dict[str, Any]:
    """The card as plain data, from a synthetic cohort's manifest and what was measured of its images."""
    synthetic = manifest["synthetic"]
    spec = synthetic["spec"]
    return {
        "synthetic": True,
        "notice": NOTICE,
        "digest": manifest["digest"],
        "images": synthetic["images"],
        "distinct_noise": synthetic["distinct_noise"],
        "source_patients": manifest["patients"],
        "source_digest": synthetic["source_digest"],
        "split": spec["split"],
        "model": f"{spec['model']}@{synthetic['model_version']}",
        "model_digest": synthetic["model_digest"],
        "sampling": {key: spec[key] for key in ("sampler", "steps", "guidance_scale", "negative_prompt", "seed")},
        "template": spec["template"],
        "balanced_on": [*spec["attributes"], *spec["labels"]],
        "cap": spec.get("cap"),
        "groups": synthetic["groups"],
        "empty_groups": synthetic["empty_groups"],
        "left_out": synthetic["left_out"],
        "intended_use": INTENDED,
        "not_intended": NOT_INTENDED,
        "limits": list(LIMITS),
        "quality": dict(quality),
    }


def card_text(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    sampling = card["sampling"]
    cap = f"{card['cap']} patients" if card["cap"] else "none"
    told = [
        ("Images", f"{card['images']}, each from noise of its own ({card['distinct_noise']} distinct)"),
        ("Model", f"{card['model']} (sha256 {card['model_digest']})"),
        ("Sampling", f"{sampling['sampler']}, {sampling['steps']} steps, guidance {sampling['guidance_scale']:g}"),
        ("Prompt", f"`{card['template']}`"),
        ("Source", f"cohort {card['source_digest']}, split {card['split']}, {card['source_patients']} patients drawn"),
        ("Balanced on", ", ".join(card["balanced_on"])),
        ("Cap", f"{cap} (a group with fewer patients has a smaller share)" if card["cap"] else cap),
        ("Left out", f"{card['left_out']} records without a level or label that was needed"),
        ("Cohort", f"sha256 {card['digest']}"),
    ]
    lines = ["# Synthetic cohort", "", f"> {card['notice']}", "", *(f"- **{name}**: {said}" for name, said in told)]
    lines += ["", "## Groups", "", *_group_table(card["groups"])]
    if card["empty_groups"]:
        lines += ["", f"Skipped, because no patient is in them: {'; '.join(card['empty_groups'])}."]
    lines += ["", "## Use", "", f"Intended: {card['intended_use']}", "", f"Not intended: {card['not_intended']}"]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in card["limits"]), ""]
    lines += [*_quality(card["quality"]), "", ELSEWHERE]
    return "\n".join([*lines, ""])


def _group_table(groups: list[Mapping[str, Any]]) -> list[str]:
    rows = (
        [
            group["name"],
            group["patients"],
            f"{group['share_without_cap']:.1%} ({group['images_without_cap']})",
            f"{group['expected_share']:.1%}",
            f"{group['share']:.1%} ({group['images']})",
            f"{group['images_per_patient']:.1f}",
        ]
        for group in groups
    )
    return [
        "| Group | Patients | Share without cap (images) | Share expected | Share made (images) | Images a patient |",
        "|---|---|---|---|---|---|",
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
    ]


def _quality(quality: Mapping[str, Any]) -> list[str]:
    """Sections on the images' distance from their sources, and their nearness to them."""
    if quality["state"] != "measured":
        return ["## Quality", "", f"Not measured: {quality['why']}."]
    recipe = quality["recipe"]
    said = (
        "Distance of each group's images to the real records that they were drawn from, who are the same people. "
        f"{recipe['distance']}; {recipe['layer']} of {recipe['encoder']} (sha256 {recipe['encoder_digest'][:12]}, "
        f"which learned from {recipe['encoder_learned_from']}); {recipe['images']} images looked at, at most "
        f"{recipe['most_images_of_a_group']} a group. 0 is no difference; what the encoder does not see is not in it."
    )
    lines = ["## Quality", "", said, "", "| Group | Images | Real records | Patients | KID | 95 % limits |"]
    lines += ["|---|---|---|---|---|---|", *(_quality_row(group) for group in quality["groups"])]
    return [*lines, "", "## Memorisation", "", *_memorisation(quality["nearness"])]


def _quality_row(group: Mapping[str, Any]) -> str:
    counts = f"| {group['name']} | {group['images']} | {group['sources']} | {group['patients']} |"
    if group["kid"] is None:
        return f"{counts} too few patients | |"
    low, high = group["limits"]
    return f"{counts} {group['kid']:.4g} | {low:.4g} to {high:.4g} |"


def _memorisation(nearness: list[Mapping[str, Any]]) -> list[str]:
    """One sentence a space, after what is compared with what."""
    lines = [
        "Images beside one half of their source patients, and real images of the other half beside the same: an image "
        "that copies a patient lies nearer to one than a new patient does.",
        "",
    ]
    for found in nearness:
        if found["state"] != "measured":
            lines.append(f"- {found['space']}: not measured, {found['patients']} source patients are too few.")
            continue
        low, high = found["limits"]
        lines.append(
            f"- {found['space']}: {found['share']:.1%} of {found['images']} images [{low:.1%}, {high:.1%}] are nearer "
            f"than the nearest {found['expected']:.1%} of {found['new_patients']} new patients; median distance "
            f"{found['median']:.4g}, of new patients {found['new_median']:.4g}. The nearest is the patient whose mask "
            f"or prompt it has in {found['own']:.1%}, by chance in {found['own_by_chance']:.1%}."
        )
    return lines
