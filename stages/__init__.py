"""The pipeline's stages, one module for each stage of dvc.yaml, by the same name."""

from gap_ensemble.libraries import require_libraries
from gap_ensemble.messages.interrupts import end_quietly_until_main

end_quietly_until_main()
require_libraries()
