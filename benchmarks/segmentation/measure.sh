#!/bin/sh
# The table of finders and corpora: measure.sh FOLDER_OF_PARQUET_FILES [MODEL]
set -e
pages="$1"
model="$2"
exec htr-ssl segment evaluate "$pages"/*.parquet --finder learned --finder projection --each ${model:+--model "$model"}
