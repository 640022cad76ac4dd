"""A synthetic cohort as the platform's twin answers it: two groups, half of the images each."""

from __future__ import annotations

from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2, synthetic_pb2


def synthetic_cohort(name: str, request: cohort_service_pb2.CreateSyntheticCohortRequest) -> cohort_pb2.Cohort:
    images = request.spec.images
    groups = [
        synthetic_pb2.SyntheticGroup(
            name=f"heart_failure={value}",
            levels={"heart_failure": value},
            patients=patients,
            records=2 * patients,
            share_without_cap=0.5,
            expected_share=0.5,
            images=images // 2,
            share=0.5,
            images_per_patient=images / 2 / patients,
        )
        for value, patients in (("0", 40), ("1", 2))
    ]
    synthetic = synthetic_pb2.Synthetic(
        spec=request.spec,
        source_digest="d" * 64,
        model_version="1",
        model_digest="e" * 64,
        groups=groups,
        images=images,
        distinct_noise=images,
    )
    return cohort_pb2.Cohort(
        name=name, display_name=request.display_name, records=images, patients=42, synthetic=synthetic
    )
