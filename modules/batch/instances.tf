# What each instance type can hold, so that a job that fits none is refused instead of waiting forever.

data "aws_ec2_instance_type_offerings" "here" {
  for_each = local.compute

  filter {
    name   = "instance-type"
    values = each.value.instance_types
  }
}

data "aws_ec2_instance_type" "offered" {
  for_each = toset(flatten([for type in keys(local.compute) : local.offered_types[type]]))

  instance_type = each.key
}

locals {
  # In the order of the list, without those that the region lacks: AWS Batch refuses a whole environment for one of them.
  offered_types = {
    for type, settings in local.compute : type => [
      for name in distinct(settings.instance_types) : name
      if contains(data.aws_ec2_instance_type_offerings.here[type].instance_types, name)
    ]
  }

  # Firmware, kernel and ECS agent take their part before a container gets any: 7.5 % is what Karpenter reckons with,
  # 32 MiB is what the agent reserves.
  instances = {
    for type, names in local.offered_types : type => [
      for name in names : {
        type   = name
        vcpus  = data.aws_ec2_instance_type.offered[name].default_vcpus
        memory = floor(data.aws_ec2_instance_type.offered[name].memory_size * 0.925) - 32
        gpus   = sum(concat([0], [for gpu in data.aws_ec2_instance_type.offered[name].gpus : gpu.count]))
      }
    ]
  }

  instance_list = {
    for type, instances in local.instances : type => join(", ", [
      for instance in instances : "${instance.type} (${instance.vcpus} vCPUs, ${instance.memory} MiB, ${instance.gpus} GPUs)"
    ])
  }

  unsuitable_types = {
    gpu = [for instance in local.instances.gpu : instance.type if instance.gpus == 0]
    cpu = [for instance in local.instances.cpu : instance.type if instance.gpus > 0]
  }

  # The images are built for x86_64.
  foreign_types = {
    for type, names in local.offered_types : type => [
      for name in names : name if !contains(data.aws_ec2_instance_type.offered[name].supported_architectures, "x86_64")
    ]
  }
}

check "instance_types_are_offered" {
  assert {
    condition = alltrue([for type, settings in local.compute : length(local.offered_types[type]) == length(distinct(settings.instance_types))])
    error_message = join(" ", [
      "${var.aws_region} does not offer", join(", ", setsubtract(concat(var.gpu.instance_types, var.cpu.instance_types), flatten(values(local.offered_types)))),
      "or there is no such type: left out. Take it off ml_gpu_instance_types or ml_cpu_instance_types to end this warning.",
    ])
  }
}
