# Images of Leastwatt's programs: one static binary each.
#
#   docker build --build-arg PROGRAM=scheduler -t leastwatt/scheduler:0.1.0 .
#   docker build --build-arg PROGRAM=metrics-adapter -t leastwatt/metrics-adapter:0.1.0 .
#   docker build --build-arg PROGRAM=endpoint-selector --target with-nftables -t leastwatt/endpoint-selector:0.1.0 .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
ARG PROGRAM
RUN test -n "$PROGRAM" && version=$(cd examples && go list -m -f '{{.Version}}' k8s.io/kubernetes) && \
    CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X k8s.io/component-base/version.gitVersion=$version" -o /program "./examples/$PROGRAM"

# What the endpoint selector calls: nft and conntrack. nft 1.1.3 (Debian 13) reads less of the rules before it changes one than 1.0.6 (Debian 12).
FROM debian:trixie-slim AS with-nftables
RUN apt-get update && apt-get install -y --no-install-recommends nftables conntrack && rm -rf /var/lib/apt/lists/*
COPY --from=build /program /program
ENTRYPOINT ["/program"]

# Everything else needs a program and the authorities that sign the web.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /program /program
USER 65532:65532
ENTRYPOINT ["/program"]
