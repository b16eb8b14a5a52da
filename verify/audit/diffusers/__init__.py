"""diffusers under audit: its classes as found installed, driven by exact scores on any grid.

inspect           every scheduler class, and why some cannot be driven
conventions       what a scheduler's state is and what its network should say
loop              the pipelines' loop with an exact network
inject            the levels of a grid in the place of a class's own, in float64
declared          promised orders with their sources
catalogue         every configuration that is measured
"""

from verify.audit.diffusers.catalogue import configurations
from verify.audit.diffusers.inspect import names, version

__all__ = ["configurations", "names", "version"]
