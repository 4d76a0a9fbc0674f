"""What tables, figures, the report and analyses share: runs as a frame, statistics, plots, HTML."""
