"""Claims of papers, each with a check, a control that must fail, and a verdict computed from measured rows.

claim.py      what a claim, a row and a verdict are;  notation.py  the symbols of their formulas
ledger.py     all of them, and the verdicts on record (expected.json)
report.py     the ledger as a table, as JSON and as docs/claims.md
stored.py     rows of studies, read as files
laws.py       the laws that claims are checked on;  mutate.py  the wrong tables of controls
denoiser_*    arXiv 2601.21943: the frozen denoiser, its equalities, bounds, limits, dimension, entropy, latent entropy;
              transitions.py  a step's transition densities, without the mmse curve
flow_*        arXiv 2508.16306, flow step then noise: lemmas (steps, halves, scores, numerics), rates (exponents, rungs),
              bounds
other_bounds  the theorems that the two papers improve on
gaussian_optima  three best grids on one Gaussian
questions     what the papers leave open
"""
