"""Metrics by group: each brings its value and the influence of every patient on it.

classification   AUROC, TPR, FPR, balanced accuracy, Brier, ECE, prevalence of one label (auroc.py, calibration.py)
means            per-record values: Dice, PSNR, SSIM, LPIPS
cross_auroc      areas between groups: BPSN, BNSP, xAUC
"""
