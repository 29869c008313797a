# The command with everything, in one image:  docker build -t curate .
# docker run --rm -v "$PWD:/data" curate run faces            (workspace and data lie in the mounted folder)
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY curation curation
COPY training training
COPY reports reports
# EXTRAS= builds a small image that curates and exports, without training, review and peers
ARG EXTRAS=all
RUN python -m venv /opt/curate \
    && /opt/curate/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

FROM python:3.11-slim-bookworm
# OpenCV's GUI build, which insightface brings, needs these two
RUN apt-get update \
    && apt-get install --no-install-recommends -y libgl1=1.* libglib2.0-0=2.* \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/curate /opt/curate
RUN useradd --create-home --uid 1000 curate
USER 1000
WORKDIR /data
ENV PATH=/opt/curate/bin:$PATH \
    FIFTYONE_DO_NOT_TRACK=true
ENTRYPOINT ["curate"]
CMD ["--help"]
