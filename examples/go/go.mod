// The host's module; it needs no other.
module patu.example/host

go 1.19
