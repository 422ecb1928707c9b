# Postern on AWS with MongoDB Atlas: a replica set that is peered with the VPC, and VPN instances in public subnets that
# join by themselves. The web processes run where you run containers (deploy/nomad, deploy/container) in the same VPC.
terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
    mongodbatlas = {
      source  = "mongodb/mongodbatlas"
      version = "~> 1.20"
    }
  }
}

provider "aws" {
  region = var.region
}

provider "mongodbatlas" {}

locals {
  # Atlas writes regions its own way: eu-central-1 is EU_CENTRAL_1.
  atlas_region = upper(replace(var.region, "-", "_"))
  database     = "postern"
  # The role of deploy/mongodb, in the words of Atlas.
  host_role = jsondecode(file("${path.module}/../mongodb/postern-host.json"))
  atlas_actions = {
    find            = "FIND"
    insert          = "INSERT"
    update          = "UPDATE"
    remove          = "REMOVE"
    listCollections = "LIST_COLLECTIONS"
  }
  host_actions = toset(flatten([for privilege in local.host_role.privileges : privilege.actions]))
}
