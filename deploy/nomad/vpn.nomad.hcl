# A VPN host on every machine of the class "vpn". It has no master key, and a database user of its own kind (see
# deploy/mongodb): its host is made once per machine by a join token, or comes into being by itself where the user may
# write policy.
variable "image" {
  type    = string
  default = "registry.example.com/postern-vpn:latest"
}

job "postern-vpn" {
  datacenters = ["*"]
  type        = "system"

  constraint {
    attribute = "${node.class}"
    value     = "vpn"
  }

  # One machine after the other, so that clients always have somewhere to go.
  update {
    max_parallel = 1
    stagger      = "60s"
  }

  group "vpn" {
    network {
      mode = "host"
      port "ops" { static = 9600 }
    }

    # The host's key: a machine that keeps it stays the same host.
    volume "state" {
      type   = "host"
      source = "postern"
    }

    service {
      name     = "postern-vpn"
      port     = "ops"
      provider = "nomad"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "5s"
        timeout  = "3s"
      }
    }

    task "vpn" {
      driver       = "docker"
      kill_timeout = "15s"

      volume_mount {
        volume      = "state"
        destination = "/data"
      }

      config {
        image           = var.image
        network_mode    = "host"
        cap_drop        = ["all"]
        cap_add         = ["net_admin"]
        readonly_rootfs = true
        devices         = [{ host_path = "/dev/net/tun", container_path = "/dev/net/tun" }]
      }

      env {
        POSTERN_HOST__NAME           = "${node.unique.name}"
        POSTERN_HOST__PUBLIC_ADDRESS = "${meta.public_address}"
        POSTERN_OPS__LISTEN          = "${NOMAD_ADDR_ops}"
      }

      template {
        destination = "secrets/postern.env"
        env         = true
        data        = "POSTERN_DATABASE__URI={{ with nomadVar \"nomad/jobs/postern-vpn\" }}{{ .database_uri }}{{ end }}\n"
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
