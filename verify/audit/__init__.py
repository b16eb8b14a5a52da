"""Other people's samplers under an exact score.

models       a law's denoiser as a torch.nn.Module, in every convention of networks and of time
registry     the libraries, and every sampler that inspection of the installed versions finds
contract     what a sampler is here: (denoiser, grid, start, generator) -> last states
order        pathwise order of a deterministic sampler against the exact flow (reference)
probing      the exact law of any sampler's output on a Gaussian, and its weak order
verdict      a measured order against a declared one
sweep        what fails as shipped, over covering arrays (options, covering, outcome, reduce, reproduction)

The adapters are own, diffusers, azula, k_diffusion, flow_matching and smalldiffusion; draws, precision, limits and loading
are what it takes to drive code that was not written to be measured.
"""
