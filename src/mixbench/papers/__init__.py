"""The papers' tables and figures: specs in conf/paper, and what is made from them and from finished runs."""
