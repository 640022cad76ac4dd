"""Tests of "no difference between groups" over hundreds of cells, with their errors controlled together.

vectors        one attribute vector per patient, and which vectors make up which group (vectors.py)
permutation    the same vectors dealt out to other patients, and the sums that every group then has (permutation.py)
score tests    AUROC, TPR, FPR, prevalence: group minus everyone over its null-pooled standard error (score_tests.py)
mean tests     Dice, PSNR, SSIM, LPIPS: clustered differences of means (mean_tests.py)
multiplicity   step-down maxT, false discovery rate (multiplicity.py)
families       all of it together: ``group_tests`` (families.py)
power          what could have been found, before and after the run (power.py, planning.py)
verdicts       gap, no gap shown, insufficient evidence (verdicts.py)
"""
