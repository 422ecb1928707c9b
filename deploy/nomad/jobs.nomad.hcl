# The periodic work of Postern by Nomad's scheduler, for clusters in which no process has the role "jobs". Each is a short
# process that does what is due; a lease in the database keeps two from doing the same, whoever starts them.
# Secrets come from Nomad variables (nomad/jobs/postern-jobs): database_uri and master_key.
variable "image_web" {
  type    = string
  default = "registry.example.com/postern-web:latest"
}

job "postern-jobs" {
  datacenters = ["*"]
  type        = "batch"

  periodic {
    crons            = ["*/5 * * * *"]
    prohibit_overlap = true
  }

  group "jobs" {
    count = 1

    reschedule {
      attempts  = 0
      unlimited = false
    }

    restart {
      attempts = 1
      mode     = "fail"
    }

    task "run" {
      driver = "docker"

      config {
        image           = var.image_web
        args            = ["jobs", "run", "--due"]
        cap_drop        = ["all"]
        readonly_rootfs = true
        mounts          = [{ type = "tmpfs", target = "/data", readonly = false, tmpfs_options = { mode = 1023 } }]
      }

      env {
        POSTERN_HOST__ROLES           = "jobs"
        POSTERN_KEYS__MASTER_KEY_FILE = "${NOMAD_SECRETS_DIR}/master.key"
      }

      template {
        destination = "secrets/postern.env"
        env         = true
        data        = "POSTERN_DATABASE__URI={{ with nomadVar \"nomad/jobs/postern-jobs\" }}{{ .database_uri }}{{ end }}\n"
      }

      template {
        destination = "secrets/master.key"
        perms       = "0400"
        uid         = 65532
        data        = "{{ with nomadVar \"nomad/jobs/postern-jobs\" }}{{ .master_key }}{{ end }}\n"
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
