# Postern on Nomad: the public portal in several copies, one internal console, a VPN host on each machine of the class
# "vpn", and periodic jobs. Secrets come from Nomad variables (nomad/jobs/postern).
variable "image_web" {
  type    = string
  default = "registry.example.com/postern-web:latest"
}

variable "image_vpn" {
  type    = string
  default = "registry.example.com/postern-vpn:latest"
}

variable "public_url" {
  type    = string
  default = "https://vpn.example.com"
}

variable "admin_url" {
  type    = string
  default = "https://vpn-admin.internal.example.com"
}

variable "proxies" {
  type        = string
  default     = "10.0.0.0/8"
  description = "Networks of the load balancers, which end TLS."
}

job "postern" {
  datacenters = ["*"]
  type        = "service"

  group "portal" {
    count = 2

    # With the Nomad autoscaler: more copies while they are busy.
    scaling {
      enabled = true
      min     = 2
      max     = 8

      policy {
        cooldown            = "2m"
        evaluation_interval = "15s"

        check "cpu" {
          source = "nomad-apm"
          query  = "avg_cpu"

          strategy "target-value" {
            target = 60
          }
        }
      }
    }

    update {
      max_parallel     = 1
      min_healthy_time = "10s"
      auto_revert      = true
    }

    network {
      mode = "bridge"
      port "public" { to = 8443 }
      port "ops" { to = 9600 }
    }

    service {
      name     = "postern-portal"
      port     = "public"
      provider = "nomad"
    }

    service {
      name     = "postern-portal-ops"
      port     = "ops"
      provider = "nomad"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "5s"
        timeout  = "3s"
      }
    }

    task "portal" {
      driver = "docker"

      config {
        image           = var.image_web
        ports           = ["public", "ops"]
        cap_drop        = ["all"]
        readonly_rootfs = true
        mounts          = [{ type = "tmpfs", target = "/data", readonly = false, tmpfs_options = { mode = 1023 } }]
      }

      env {
        POSTERN_HOST__NAME            = "portal-${NOMAD_ALLOC_INDEX}"
        POSTERN_HOST__ROLES           = "portal"
        POSTERN_PUBLIC__LISTEN        = "0.0.0.0:8443"
        POSTERN_PUBLIC__URL           = var.public_url
        POSTERN_PROXY__TRUSTED        = var.proxies
        POSTERN_KEYS__MASTER_KEY_FILE = "${NOMAD_SECRETS_DIR}/master.key"
      }

      template {
        destination = "secrets/postern.env"
        env         = true
        data        = "POSTERN_DATABASE__URI={{ with nomadVar \"nomad/jobs/postern\" }}{{ .database_uri }}{{ end }}\n"
      }

      template {
        destination = "secrets/master.key"
        perms       = "0400"
        uid         = 65532
        data        = "{{ with nomadVar \"nomad/jobs/postern\" }}{{ .master_key }}{{ end }}\n"
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }

  group "console" {
    count = 1

    network {
      mode = "bridge"
      port "admin" { to = 9443 }
      port "ops" { to = 9600 }
    }

    service {
      name     = "postern-console"
      port     = "admin"
      provider = "nomad"
    }

    service {
      name     = "postern-console-ops"
      port     = "ops"
      provider = "nomad"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "5s"
        timeout  = "3s"
      }
    }

    task "console" {
      driver = "docker"

      config {
        image           = var.image_web
        ports           = ["admin", "ops"]
        cap_drop        = ["all"]
        readonly_rootfs = true
        mounts          = [{ type = "tmpfs", target = "/data", readonly = false, tmpfs_options = { mode = 1023 } }]
      }

      env {
        POSTERN_HOST__NAME            = "console-0"
        POSTERN_HOST__ROLES           = "console"
        POSTERN_ADMIN__LISTEN         = "0.0.0.0:9443"
        POSTERN_ADMIN__URL            = var.admin_url
        POSTERN_PUBLIC__URL           = var.public_url
        POSTERN_PROXY__TRUSTED        = var.proxies
        POSTERN_KEYS__MASTER_KEY_FILE = "${NOMAD_SECRETS_DIR}/master.key"
      }

      template {
        destination = "secrets/postern.env"
        env         = true
        data        = "POSTERN_DATABASE__URI={{ with nomadVar \"nomad/jobs/postern\" }}{{ .database_uri }}{{ end }}\n"
      }

      template {
        destination = "secrets/master.key"
        perms       = "0400"
        uid         = 65532
        data        = "{{ with nomadVar \"nomad/jobs/postern\" }}{{ .master_key }}{{ end }}\n"
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
