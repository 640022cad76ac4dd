"""Restoration by sampling, apart from networks: stochastic processes from a degraded image to a clean one.

:class:`~services.maths.restoration.ir_sde.IrSde` and :class:`~services.maths.restoration.flow.Flow` obey one protocol,
:class:`~services.maths.restoration.plans.Process`: a loss to train a network with, and plans to sample it by.
"""
