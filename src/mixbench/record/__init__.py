"""The run directory: the only door between training and everything that reads results.

    config.yaml    the composed config            env.json      commit, versions, device, command line
    epochs.csv     one row per epoch, added       last.pt       what an exact resume needs besides the rows
    summary.json   state, selections, times       model.safetensors   final weights
    best_val.safetensors   those of the best epoch on the validation set, where they are kept
    train.log      what was printed               claim         the process that works here, while it does
    evaluations/   what was measured on the final weights afterwards (see mixbench.analysis.stored)

summary.json ends with a checksum of itself and, while nobody works on the run, holds those of config.yaml, epochs.csv
and the weights: a number that has changed on the disk is found, and never gets into a table. Records of versions that
wrote no checksums are read as they are.

A record may come from somebody else: `schema` says of which types its values are, and what does not fit is a run whose
state is `unreadable`, or rows that are refused.

Training writes it through `write.OpenRecord`, everything else reads it through `run.SavedRun`. Nothing here imports
torch; tables can be made where torch is not installed.
"""
