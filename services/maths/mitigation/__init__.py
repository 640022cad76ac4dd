"""Training terms that make a reconstruction serve groups more alike, and how much they weigh.

reweighting       which rows are drawn: inverse frequency of the exact attribute tuple
equalised_odds    soft error rates of a downstream predictor by group, and their gaps
correlation       an adversary that predicts the attribute, and the squared correlation it reaches
balance           λ as the ratio of two gradients' lengths, whatever the model's own loss is

Every term is a function of what the network restores, differentiably, through a downstream predictor whose weights are
frozen. A term computed from the data alone, such as on the analytic optimum of a diffusion step, has no gradient.
"""
