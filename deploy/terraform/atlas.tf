# Transactions and capped collections are needed: a dedicated replica set (M10 or larger), not a serverless one.
resource "mongodbatlas_advanced_cluster" "postern" {
  project_id     = var.atlas_project_id
  name           = "postern"
  cluster_type   = "REPLICASET"
  backup_enabled = true

  replication_specs {
    region_configs {
      provider_name = "AWS"
      region_name   = local.atlas_region
      priority      = 7

      electable_specs {
        instance_size = "M10"
        node_count    = 3
      }
    }
  }

  depends_on = [mongodbatlas_network_container.postern]
}

resource "mongodbatlas_network_container" "postern" {
  project_id       = var.atlas_project_id
  provider_name    = "AWS"
  region_name      = local.atlas_region
  atlas_cidr_block = var.atlas_cidr
}

resource "mongodbatlas_network_peering" "postern" {
  project_id             = var.atlas_project_id
  container_id           = mongodbatlas_network_container.postern.container_id
  provider_name          = "AWS"
  accepter_region_name   = var.region
  aws_account_id         = var.aws_account_id
  vpc_id                 = aws_vpc.postern.id
  route_table_cidr_block = aws_vpc.postern.cidr_block
}

resource "aws_vpc_peering_connection_accepter" "atlas" {
  vpc_peering_connection_id = mongodbatlas_network_peering.postern.connection_id
  auto_accept               = true
}

resource "mongodbatlas_project_ip_access_list" "vpc" {
  project_id = var.atlas_project_id
  cidr_block = aws_vpc.postern.cidr_block
  comment    = "Postern's VPC, by the peering"
}

resource "mongodbatlas_custom_db_role" "host" {
  project_id = var.atlas_project_id
  role_name  = local.host_role.createRole

  dynamic "actions" {
    for_each = local.host_actions

    content {
      action = local.atlas_actions[actions.value]

      dynamic "resources" {
        for_each = [for privilege in local.host_role.privileges : privilege.resource.collection if contains(privilege.actions, actions.value)]

        content {
          database_name   = local.database
          collection_name = resources.value
        }
      }
    }
  }
}

resource "mongodbatlas_database_user" "web" {
  project_id         = var.atlas_project_id
  username           = "web"
  password           = var.web_password
  auth_database_name = "admin"

  roles {
    role_name     = "readWrite"
    database_name = local.database
  }

  roles {
    role_name     = "dbAdmin"
    database_name = local.database
  }
}

# Atlas keeps its users outside of the database, so hosts share one: database.uri_for_hosts of the web processes.
resource "mongodbatlas_database_user" "host" {
  project_id         = var.atlas_project_id
  username           = "host"
  password           = var.host_password
  auth_database_name = "admin"

  roles {
    role_name     = mongodbatlas_custom_db_role.host.role_name
    database_name = "admin"
  }
}
